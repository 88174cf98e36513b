"""Everything compiled or bound to a platform: sources in C, their bindings, the allocator, the devices."""

"""The phases of training: can the end of the unstable one be seen while a network trains, and can it come sooner? Questions of our own."""

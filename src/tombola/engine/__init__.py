"""Studies carried out: skipped, resumed, trained, measured."""

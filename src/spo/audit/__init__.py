"""What the kernel says about refused and logged actions: one record in, one typed value out. Pure."""

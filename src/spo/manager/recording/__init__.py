"""Status and finalizers of ProfileRecordings, and the merging of what single pods gave."""

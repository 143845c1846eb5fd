"""CPU and memory profiles of the own process over HTTP, for ``go tool pprof``; imported only when enabled."""

"""A sampler that is a vLLM server: in another process and environment, fast on GPUs, and not exact."""

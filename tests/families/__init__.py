"""Every causal language model family of transformers, tiny: does the engine compute what transformers does?"""

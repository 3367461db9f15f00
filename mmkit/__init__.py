"""mmkit: which encoders, fused how, give the best answer on your multimodal data, and at what price?"""

"""Balance methods: how encoders are trained beside each other, so that none is left behind."""

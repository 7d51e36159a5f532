"""Running on pods, and knowing beforehand what a pod will say."""

"""Cluster of several servers on Ray: workers, their placement, the gateway in front of them, its command."""

"""Must run before torch is imported anywhere.

Tiny networks gain nothing from threads, and OpenMP threads that spin while they wait make a shared
machine crawl.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

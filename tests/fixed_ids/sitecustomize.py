"""Put on PYTHONPATH by tests/compare_records.py: the prediction service draws its ids from a fixed seed.

Ids decide which collected rows are held out, so that two plays of one story would otherwise train other models.
"""

import random
import sys
import uuid

if "tasks.cli.service" in sys.orig_argv:
    drawn = random.Random(20261128)
    uuid.uuid4 = lambda: uuid.UUID(int=drawn.getrandbits(128), version=4)

"""Loaded by Python itself where PYTHONPATH has this folder: adding to an object of a bucket is an error."""

import fake_gcs
from fsspec.spec import AbstractFileSystem

AbstractFileSystem.open = fake_gcs.refusing(AbstractFileSystem.open)

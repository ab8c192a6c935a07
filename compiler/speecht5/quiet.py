"""Keeping what the libraries say off the terminal."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own warnings and progress bars off the terminal."""
    from huggingface_hub.utils import logging as hub  # noqa: PLC0415, takes a second
    from transformers.utils import logging as hf  # noqa: PLC0415

    before, hub_before, bars = hf.get_verbosity(), hub.get_verbosity(), hf.is_progress_bar_enabled()
    hf.set_verbosity_error()
    hub.set_verbosity(logging.ERROR)
    hf.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf.set_verbosity(before)
        hub.set_verbosity(hub_before)
        if bars:
            hf.enable_progress_bar()

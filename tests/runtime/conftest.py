"""One Postgres for the whole session; every test has a bot name of its own, and so rows of its own."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from services.postgres.embedded import EmbeddedPostgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def dsn(tmp_path_factory):
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    address = asyncio.run(postgres.start())
    yield address
    asyncio.run(postgres.stop())


@pytest.fixture
def name():
    return f"t{next(_numbers)}"

import pytest
from libs.common.tests.integration.conftest import MortalNats

from quarry_common.errors import UnavailableError
from quarry_common.messaging import broker


async def test_a_bus_that_was_killed_is_not_well_however_often_it_is_asked(mortal_nats: MortalNats) -> None:
    async with broker.connect(mortal_nats.settings, "test") as client:
        await broker.check(client)
        mortal_nats.kill()

        for _ in range(4):
            with pytest.raises(UnavailableError):
                await broker.check(client)

import pytest
from tests.scenario import play as P
from tests.scenario.play import Script, play
from tests.scenario.scene import scene
from tests.scenario.weather import TROUBLES
P.REST_SECONDS=25
@pytest.mark.parametrize("n", [t for t in TROUBLES if t!="fork"])
async def test_x(n, servers, database_url, tmp_path):
        async with scene(servers, tmp_path, database_url) as stage:
            out = await play(stage, Script(seed=1, troubles=(n,), kills=1))
        print(n, out.struck)
        assert not out.broken, "\n".join(map(str,out.broken))

"""What docs/stage/artnet-sacn.md prints is true and works."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from live_support import wait_for
from stage_support import UdpReceiver
from support import ESTIMATE

pytest.importorskip("sacn", reason="sacn is not installed (extra dmx)")

from sacn.messages.data_packet import DataPacket

from realtime_mer.commands.show import running_show
from realtime_mer.configuration.configuration import load
from realtime_mer.core.types import State
from realtime_mer.live.hub import Hub
from realtime_mer.live.show import ControlCommand
from realtime_mer.outputs import artnet, sacn
from realtime_mer.outputs.fixtures import KINDS
from realtime_mer.outputs.sacn import SacnSettings

PAGE = (Path(__file__).parent.parent / "docs" / "stage" / "artnet-sacn.md").read_text("utf-8")
ARTNET, SACN, SCENE, SACN_FOR_QLC = re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)
ESTIMATE_NOW = replace(ESTIMATE, state=State.TRACKING)


def test_the_tables() -> None:
    for kind, channels in KINDS.items():
        assert f"| `{kind}` | {', '.join(f'`{channel}`' for channel in channels)} |" in PAGE
    assert f"UDP {artnet.PORT} | UDP {sacn.PORT} |" in PAGE
    assert f"0 to {artnet.MAX_UNIVERSE}" in " ".join(PAGE.split())


def test_the_examples_of_art_net_and_scenes(tmp_path: Path) -> None:
    with UdpReceiver() as node:
        text = ARTNET.replace("192.168.1.50", f"127.0.0.1:{node.port}")
        file = tmp_path / "realtime-mer.toml"
        file.write_text(text + SCENE)
        hub = Hub()
        with running_show(hub, load(file), hop_s=1.0) as show:

            def data() -> bytes:
                return node.receive()[18:]

            hub.publish(ESTIMATE_NOW)
            lit = data()
            assert lit[0] == 255
            assert lit[1:4] == lit[4:7] == lit[7:10] != bytes(3)
            assert (lit[10], lit[11]) == (0, 200)
            assert not any(lit[12:])
            show.control(ControlCommand(scene="storm"))
            wait_for(lambda: data()[:4] == bytes([255, 51, 51, 255]), "the scene")
            wait_for(lambda: data()[11] == 255, "the channel of the scene")
            show.control(ControlCommand(blackout=True))
            wait_for(lambda: not any(data()[:11]), "the blackout")


@pytest.mark.parametrize("block", [SACN, SACN_FOR_QLC])
def test_the_examples_of_sacn(block: str, tmp_path: Path) -> None:
    file = tmp_path / "realtime-mer.toml"
    file.write_text(block)
    (settings,) = load(file).outputs
    assert isinstance(settings, SacnSettings)
    assert settings.to == ""
    (lamp,) = settings.fixtures
    with UdpReceiver() as receiver:
        to = f'to = "127.0.0.1:{receiver.port}"'
        file.write_text(re.sub(r"^interface = .*$", to, block, flags=re.M))
        hub = Hub()
        with running_show(hub, load(file), hop_s=1.0):
            hub.publish(ESTIMATE_NOW)
            packet = DataPacket.make_data_packet(tuple(receiver.receive()))
    assert (packet.universe, packet.priority) == (lamp.universe, settings.priority)
    data = packet.dmxData
    assert data[lamp.address - 1] == 255
    assert any(data[lamp.address : lamp.last])
    assert not any(data[: lamp.address - 1] + data[lamp.last :])

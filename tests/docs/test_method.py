"""docs/method.md counts parameters as the networks do, and names every key that decides between two readings."""

import re

import pytest
import torch

from sspipe.models.build import count_parameters
from sspipe.models.shared_space import SharedSpace
from sspipe.models.skips import sources
from sspipe.models.unet16 import UNet16
from sspipe.variants import Model
from tests.docs.pages import ROOT

TEXT = (ROOT / "docs/method.md").read_text()
TABLE = {
    cells[1].strip(): tuple(int(cell.replace(",", "")) for cell in cells[2:4])
    for line in TEXT.splitlines()
    if len(cells := line.split("|")) == 6 and re.fullmatch(r" [\d,]+ ", cells[2])
}
NETWORKS = {
    "UNet16": Model(kind="unet16"),
    "SS without skip connections": Model(skips={"shared": "none", "private": "none"}),
    "SS with own or randomized ones": Model(skips={"shared": "random", "private": "random"}),
    "SS, randomized within the SS alone": Model(skips={"shared": "random", "private": "none"}),
}


def counted(model):
    """Unique parameters, and with the encoder twice; without memory for them."""
    with torch.device("meta"):
        if model.kind == "unet16":
            return count_parameters(UNet16([True] * 5, model.width, model.norm))
        return count_parameters(SharedSpace(sources(model), model.private_blocks, model.width, model.norm))


def test_the_table_has_these_networks_and_no_others():
    assert TABLE.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_as_many_parameters_as_the_page_says(name):
    assert counted(NETWORKS[name]) == TABLE[name]


@pytest.mark.parametrize(("blocks", "words"), [(3, "Three private blocks"), (1, "One block")])
def test_other_numbers_of_private_blocks_come_to_what_the_page_says(blocks, words):
    told = re.search(rf"{words} would give ([\d,]+\d)", " ".join(TEXT.split()))
    assert int(told[1].replace(",", "")) == counted(Model(private_blocks=blocks))[1]

"""What each recorded exchange really used and cost, beside the bound that money is reserved by."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from msgspec import Struct

from bench.wire import asked, oracle
from bench.wire.exchanges import Exchange
from mainstay import prices
from mainstay.core.errors import BadRequest, Unsupported
from mainstay.core.model import Usage
from mainstay.core.project import Model, Price
from mainstay.core.units import Usd
from mainstay.serve.pricing import cost, most_read, unpriced, worst

PROVIDERS = {"messages": "anthropic", "generateContent": "gemini", "chat completions": "openai"}
# Where the table has no price: one whose classes differ as much as anywhere.
ANY = Price(input=Usd(10**9), output=Usd(5 * 10**9), cached_input=Usd(10**8), cache_write=Usd(1_250_000_000))


class Bound(Struct, frozen=True, kw_only=True):
    """One exchange: tokens read and their bound, tokens written and what was allowed (None: nothing was), and the same as money.

    `refused` says why it would not be sent where money is limited, `searches` that the model reads what nobody sent it.
    """

    exchange: Exchange
    read: int
    most_read: int
    written: int
    most_written: int | None
    cost: int
    worst: int
    refused: str | None
    searches: bool

    @property
    def passed(self) -> bool:
        """Whether more was used, or paid, than is reserved."""
        if self.refused is not None or self.searches:
            return False
        beyond = self.most_written is not None and self.written > self.most_written
        return self.read > self.most_read or beyond or self.cost > self.worst


def bounds(exchanges: Sequence[Exchange]) -> Iterator[Bound]:
    """Every exchange whose request we can read and whose answer says what was used."""
    for exchange in exchanges:
        if exchange.wire is None or not exchange.request or exchange.status >= 300:
            continue
        try:
            request = asked.read(exchange.wire, exchange.request)
        except (BadRequest, Unsupported):
            continue
        said = oracle.read(exchange.wire, exchange.status, exchange.headers, exchange.body)
        if isinstance(said, oracle.Failure) or said.usage is None:
            continue
        read, written, cached, write, reasoning = said.usage
        name = json.loads(exchange.request).get("model") or exchange.path.rpartition("/")[2].partition(":")[0]
        model = Model(provider=PROVIDERS[exchange.wire], model=name)
        price = prices.price_of(model) or ANY
        usage = Usage(input=read, output=written, cached_input=cached, cache_write=write, reasoning=reasoning)
        most = most_read(request, prices.image_tokens(model))
        yield Bound(
            exchange=exchange,
            read=read,
            most_read=most,
            written=written,
            most_written=request.max_output,
            cost=cost(price, usage) or 0,
            worst=worst(price, request, most, written if request.max_output is None else request.max_output),
            refused=unpriced(request),
            searches=prices.searches(name),
        )


def print_bounds(found: Sequence[Bound]) -> int:
    """A table of how near the bounds come; gives how many were passed."""
    groups: dict[str, list[Bound]] = {}
    for bound in found:
        groups.setdefault(bound.exchange.provider, []).append(bound)
    print("\nWhat was used, beside the bound that money is reserved by (share of the bound)\n")
    print("  provider          rows  refused  passed   median   highest")
    for name, rows in sorted(groups.items()):
        shares = sorted(row.read / row.most_read for row in rows if row.refused is None and not row.searches)
        middle, top = (shares[len(shares) // 2], shares[-1]) if shares else (0.0, 0.0)
        refused, passed = sum(row.refused is not None for row in rows), sum(row.passed for row in rows)
        print(f"  {name:16} {len(rows):5} {refused:8} {passed:7} {100 * middle:7.1f} % {100 * top:7.1f} %")
    passed = [row for row in found if row.passed]
    for row in passed:
        print(f"  {row.exchange.id}: read {row.read} of {row.most_read}, wrote {row.written} of {row.most_written}")
    print(f"\nbounds: {len(passed)} passed of {len(found)}")
    return len(passed)

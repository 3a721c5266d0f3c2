"""Run many hand-overs and print what came of them: ``python -m tests.real.interop``.

Needs Go and PYOPERATOR_REAL_KUBECONFIG, the kubeconfig of a throwaway server. The candidates' own lines and logs stay
in ``--folder``. Exit code 1 if any rule was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.real.interop.duel import Duel, build
from tests.real.server import KUBECONFIG, administrator, fresh_namespace


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.real.interop", description=__doc__)
    parser.add_argument("--hand-overs", type=int, default=200)
    parser.add_argument("--crashes", type=int, default=5, help="of each side")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if not KUBECONFIG:
        parser.error("set PYOPERATOR_REAL_KUBECONFIG to the kubeconfig of a throwaway server")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="interop-"))
    folder.mkdir(parents=True, exist_ok=True)
    async with administrator() as client:
        duel = Duel(client, await fresh_namespace(client, "interop"), KUBECONFIG, await build(folder), folder)
        result = await duel.run(arguments.hand_overs, arguments.crashes)
    print(result.report())
    print("\n".join(result.faults()), file=sys.stderr)
    return 1 if result.faults() else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

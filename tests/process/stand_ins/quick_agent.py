"""An agent in a process of its own, with short leases, whose trials run `quick_trial.py`.

python quick_agent.py STUDY WORKERS LEASE_SECONDS
"""

import sys

import quick_trial
from rich.console import Console

from atft_hpo.config.settings import read_settings
from atft_hpo.service.agent.agent import Agent
from atft_hpo.service.database.connection import open_database
from atft_hpo.service.display.live import open_view
from atft_hpo.service.process.launchers import LocalLauncher, Place
from atft_hpo.service.queue.leases import LeaseTimes
from atft_hpo.service.studies.study import open_study


def main(name: str, workers: int, lease: float) -> int:
    settings = read_settings()
    database = open_database(settings)
    launcher = LocalLauncher(database.url, settings, quick_trial.main, preload=())
    times = LeaseTimes(lease=lease, renew=lease / 8, poll=0.02, idle=0.1, grace=5.0)
    places = [Place(i, None, 1) for i in range(workers)]
    study = open_study(database, name)
    with open_view(database, name, Console(width=200)) as view:
        farewell = Agent(database, study, launcher, places, view, times).run()
    return 130 if farewell.interrupted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))

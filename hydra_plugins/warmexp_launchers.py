"""Hydra's launchers, made to survive a job that is killed: the other jobs go on, and the killed one comes back as a
failed job.

As they are, joblib's launcher drops every job of a study when one worker dies, and submitit's raises at the first dead
job (or waits for ever where the cluster keeps no accounts, which is where submitit asks). Hydra finds launchers only in
the package `hydra_plugins`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from warmexp.console import show

_POLL_SECONDS = 2.0
# A result file may reach this machine's view of a shared file system later than the news that its job has left the
# queue.
_GRACE_SECONDS = 10.0


try:
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
except ImportError:  # then Hydra has no configuration to begin with, and warmexp.config.messages says what to install
    JoblibLauncher = SlurmLauncher = Launcher


def failed(error: Exception) -> JobReturn:
    """What a job that was killed returns: Hydra raises `error` to whoever asks for its value."""
    return JobReturn(status=JobStatus.FAILED, _return_value=error)


class Local(JoblibLauncher):
    """Processes of one machine. When one is killed, all jobs are asked for again (what is finished is reused), then one
    by one."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from joblib.externals.loky.process_executor import BrokenProcessPool

        for _ in range(2):
            try:
                return super().launch(job_overrides, initial_job_idx)
            except BrokenProcessPool as error:
                killed = error
        if len(job_overrides) == 1:
            return [failed(killed)]
        return [self.launch([overrides], i)[0] for i, overrides in enumerate(job_overrides, initial_job_idx)]


# The options that submitit has for every kind of cluster; the others are Slurm's.
_GENERAL = (
    "timeout_min",
    "cpus_per_task",
    "gpus_per_node",
    "tasks_per_node",
    "mem_gb",
    "nodes",
    "name",
    "stderr_to_stdout",
)


class Slurm(SlurmLauncher):
    """A Slurm job array. `squeue` says whether a job is still there: unlike `sacct` it answers on every cluster."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        import submitit

        options = {k if k in _GENERAL else f"slurm_{k}": v for k, v in self.params.items() if k != "submitit_folder"}
        timeouts = options.pop("slurm_max_num_timeout")
        executor = submitit.AutoExecutor(
            self.params["submitit_folder"], cluster="slurm", slurm_max_num_timeout=timeouts
        )
        executor.update_parameters(**options)
        calls = [
            (list(words), "hydra.sweep.dir", i, "", Singleton.get_state())
            for i, words in enumerate(job_overrides, initial_job_idx)
        ]
        jobs = executor.map_array(self, *zip(*calls, strict=True))
        show(
            f"{len(jobs)} jobs went to Slurm as {jobs[0].job_id.split('_')[0]}; their logs:"
            f" {jobs[0].paths.folder.parent}"
        )
        return [_outcome(job) for job in jobs]


def _outcome(job: Any) -> JobReturn:
    """What a job returned, waited for; a failure where it left the queue and returned nothing."""
    while not job.paths.result_pickle.exists():
        if not _queued(job.job_id):
            time.sleep(_GRACE_SECONDS)
            if not job.paths.result_pickle.exists():
                return failed(
                    RuntimeError(f"Slurm ended job {job.job_id} before it was done (log: {job.paths.stderr})")
                )
        time.sleep(_POLL_SECONDS)
    try:
        return job.results()[0]
    except Exception as error:  # raised in the job outside of the run, an import for instance
        return failed(error)


def _queued(job_id: str) -> bool:
    """Whether Slurm still has the job, waiting or running; yes where Slurm does not answer."""
    asked = subprocess.run(["squeue", "--noheader", "--array", "--me", "--format=%i"], capture_output=True, text=True)
    return asked.returncode != 0 or job_id in asked.stdout.split()

"""A search for fewer forwards and more right answers, on Optuna's ask and tell.

`space` says what varies, `samplers` who proposes values, `storage` where trials are kept, `queue` which trial is next
and what became of it, `baselines` which are tried first, `limits` what a trial must reach, `sweeper` drives them all.
Only the sweeper's process imports Optuna; a trial is an ordinary job of the study.
"""

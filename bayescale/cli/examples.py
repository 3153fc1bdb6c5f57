"""Examples of every command, which its help shows."""

from __future__ import annotations

_ALLOCATION = ("allocation fit.nc --flops 5.76e23", "allocation fit.nc --flops '2M dollars @ 512xH100'",
               "allocation fit.nc --days 30 --hardware 512xH100 --limits max_weights_gb 80")  # fmt: skip

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": ("init ours.csv",),
    "validate": ("validate ours.csv", "validate export.csv --columns params=n_params --unit tokens=billions"),
    "explain": ("explain regret", "explain safe range"),
    "fit": ("fit ours.csv --loss-unit nats --out fit.nc",
            "fit hoffmann2022 --where 'exclusion=\"\"' --out fit.nc",
            "fit ours.csv --model additive --model coupled --out average.nc --folder fits"),
    "check": ("check fit.nc", "check fit.nc --verbose"),
    "forecast": ("forecast fit.nc --params 70B --tokens 1.4T", "forecast fit.nc --at queries.csv --out forecasts.csv",
                 "forecast fit.nc --flops 1e24", "forecast fit.nc --flops '50k gpu-hours @ H100'"),
    "decide": tuple(f"decide {line}" for line in _ALLOCATION),
    "plot": ("plot fit.nc forecast allocation --out figures", "plot fit.nc allocation --flops '2M dollars @ 512xH100'",
             "plot fit.nc --list"),
    "backtest": ("backtest ours.csv --model additive", "backtest open-families --way expanding --workers 4"),
    "calibrate": ("calibrate additive --simulations 100 --out record.toml",),
    "compare": ("compare ours.csv --model additive --model coupled --flops 1e24 --report laws.html",
                "compare ours.csv --model additive --model coupled --flops '30 days @ 512xH100' --folder fits"),
    "report": ("report fit.nc --flops 5.76e23 --out decision.html",
               "report fit.nc --flops '2M dollars @ 512xH100' --out decision.html"),
    "learn": ("learn families.csv --out mine.toml --folder fits", "learn open-families --keep --out models/mine.toml"),
    "show": ("show models", "show laws additive", "show data hoffmann2022 --head"),
    "cache": ("cache", "cache --clear"),
    "decide allocation": tuple(f"decide {line}" for line in _ALLOCATION),
    "decide data-cap": ("decide data-cap fit.nc --flops 1e22 --unique-tokens 25B",),
    "decide decay": ("decide decay fit.nc --family 400M --schedule 'linear peak=3e-4 warmup=2160 steps=24000'",),
    "decide experts": ("decide experts fit.nc --flops 1e22 --memory 80 --served 100B",),
    "decide fixed-params": ("decide fixed-params fit.nc --params 7B --worth 1e25",),
    "decide lifetime": ("decide lifetime fit.nc --like 70B --demand 'lognormal(2e12, 0.7)'",
                        "decide lifetime fit.nc --like 13B --demand 2T --hardware H100 --batch 32 --prompt 2K "
                        "--generated 500"),
    "decide mixture": ("decide mixture fit.nc --texts pile_cc 2 --texts arxiv 1 --limits max_share_github 0.1",),
    "decide next-run": ("decide next-run fit.nc --flops 5.76e23 --most-flops 1e21 --batch 3",),
    "decide portfolio": ("decide portfolio fit.nc --flops 1e22 --worth OpenLM-C4 1 --worth OpenLM-RedPajama 2",),
    "decide recipe": ("decide recipe fit.nc --flops 1e24",),
    "decide share": ("decide share fit.nc --params 1B --tokens 20B",),
    "decide split": ("decide split fit.nc --flops 5.76e23 --gains inference 'lognormal(0.01, 0.5)'",),
    "decide swap": ("decide swap fit.nc --recipe OpenLM-C4 --params 1B --done 60B --remaining 40B",),
    "decide target": ("decide target fit.nc --loss 2.0 --probability 0.9",
                      "decide target fit.nc --score 0.7 --response hellaswag"),
    "decide threshold": ("decide threshold fit.nc --rule eu-ai-act --restarts 'lognormal(1.06, 0.03)'",),
    "decide train-to-test": ("decide train-to-test fit.nc --flops 1e24 --problems 1B",),
}  # fmt: skip


def epilog(name: str) -> str:
    """Return the examples of a command as the end of its help; a decision from elsewhere has none."""
    lines = [f"  bayescale {line}" for line in EXAMPLES.get(name, ())]
    return "\n".join(["\b", "Examples:", *lines]) if lines else ""

"""Prints, as JSON, with what `sam local invoke -n ENV_FILE` would run each function of a template: its code and its
environment, as SAM makes them. Runs in the SAM CLI's own virtualenv: `python as_sam_runs_it.py TEMPLATE ENV_FILE`.
"""

import json
import sys
from pathlib import Path

from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider


def functions(template: Path, env_file: Path) -> dict[str, dict]:
    stacks, _ = SamLocalStackProvider.get_stacks(str(template))
    provider = SamFunctionProvider(stacks, ignore_code_extraction_warnings=True)
    told = json.loads(env_file.read_text())
    runner = LocalLambdaRunner(None, provider, str(template.parent), str(template.parent), env_vars_values=told)
    made = {}
    for function in provider.get_all():
        config = runner.get_invoke_config(function)
        made[function.name] = {"code": config.code_abs_path, "variables": config.env_vars.resolve()}
    return made


if __name__ == "__main__":
    print(json.dumps(functions(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))))

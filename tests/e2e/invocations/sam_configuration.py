"""Prints, as JSON, the code path and the environment with which `sam local invoke -n ENV_FILE` would run each function of a template.
Runs in the SAM CLI's own virtual environment: `python sam_configuration.py TEMPLATE ENV_FILE`.
"""

import json
import sys
from pathlib import Path

from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider


def function_configurations(template: Path, env_file: Path) -> dict[str, dict]:
    stacks, _ = SamLocalStackProvider.get_stacks(str(template))
    provider = SamFunctionProvider(stacks, ignore_code_extraction_warnings=True)
    env_vars = json.loads(env_file.read_text())
    runner = LocalLambdaRunner(None, provider, str(template.parent), str(template.parent), env_vars_values=env_vars)
    configurations = {}
    for function in provider.get_all():
        config = runner.get_invoke_config(function)
        configurations[function.name] = {"code": config.code_abs_path, "variables": config.env_vars.resolve()}
    return configurations


if __name__ == "__main__":
    print(json.dumps(function_configurations(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))))

"""`lbkeras completion`: prints the script that makes a shell complete commands and flags."""

import importlib

from lbkeras.cli import paper_configs
from lbkeras.cli.command_flags import CommandFlags, ListedFlag
from lbkeras.cli.config_files import config_module
from lbkeras.errors import UserError, unknown_name

HELP = """lbkeras completion: prints the script for tab completion in bash or zsh

examples:
  lbkeras completion bash > ~/.local/share/bash-completion/completions/lbkeras
  lbkeras completion zsh > ~/.zfunc/_lbkeras

or for the current session only:
  source <(lbkeras completion bash)
  source <(lbkeras completion zsh)

Create the folder if it does not exist. bash reads it by itself if the package
bash-completion is installed. zsh reads the folders in $fpath; to add this one,
put `fpath+=~/.zfunc; autoload -Uz compinit; compinit` into ~/.zshrc.
Print the script again after updating lbkeras.
"""

_BASH = r"""# Completion of lbkeras for bash, printed by `lbkeras completion bash`.
_lbkeras() {
  local line=${COMP_LINE:0:COMP_POINT} word value words="" files="" i IFS=$' \t\n'
  word=${line##*[[:space:]]}
  value=${word#*=}
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="@COMMANDS@"
  else
    case "${COMP_WORDS[1]} $word" in
@CASES@
    esac
  fi
  words=${words// /$'\n'}
  IFS=$'\n'
  COMPREPLY=($(compgen -W "$words" $files -- "$value"))
  for i in "${!COMPREPLY[@]}"; do
    [[ ! $files || ! -d ${COMPREPLY[i]} ]] || COMPREPLY[i]+=/
  done
  # Readline replaces only what follows the last word break.
  if [[ $COMP_WORDBREAKS != *=* ]]; then
    COMPREPLY=("${COMPREPLY[@]/#/${word%"$value"}}")
  elif [[ $value == *:* && $COMP_WORDBREAKS == *:* ]]; then
    COMPREPLY=("${COMPREPLY[@]#"${value%"${value##*:}"}"}")
  fi
  [[ ${COMPREPLY[0]-} != *[=:/] ]] || compopt -o nospace 2> /dev/null
}
complete -F _lbkeras lbkeras
"""

_ZSH = r"""#compdef lbkeras
# Completion of lbkeras for zsh, printed by `lbkeras completion zsh`.
_lbkeras_configs() {
  compadd -- @CONFIGS@
  _files -g '*.py'
}
_lbkeras() {
  local -a commands=(
@COMMANDS@
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  shift words
  (( CURRENT-- ))
  case $words[1] in
@CASES@
  esac
}
if [ "$funcstack[1]" = _lbkeras ]; then
  _lbkeras "$@"
else
  compdef _lbkeras lbkeras
fi
"""


def define_flags(command: CommandFlags) -> None:
    command.word(_SCRIPTS)


def main(arguments: list[str]) -> int:
    command = CommandFlags(HELP, arguments)
    define_flags(command)
    command.parse()
    if command.given not in _SCRIPTS:
        if command.given is None:
            raise UserError("completion: expected bash or zsh, received none")
        raise UserError(unknown_name("completion", command.given, _SCRIPTS))
    from lbkeras.cli.main import COMMANDS

    print(_SCRIPTS[command.given](COMMANDS), end="")
    return 0


def bash(commands: dict[str, str]) -> str:
    """Returns the completion script for bash.

    Args:
        commands: each command's name and what it does.
    """
    papers = " ".join(f"{name}:" for name in paper_configs.files())
    cases = [
        f'*" --config="*:*) words="{" ".join(_configs())}" ;;',
        f'*" --config="*) words="{papers}" files=-f ;;',
    ]
    for name in commands:
        command = _flags_of(name)
        for flag in command.listed():
            if flag.kind == "path":
                cases.append(f'"{name} --{flag.name}="*) files=-f ;;')
            if flag.choices:
                cases.append(f'"{name} --{flag.name}="*) words="{" ".join(flag.choices)}" ;;')
        names = [f"--{flag.name}{'=' * (flag.kind != 'switch')}" for flag in command.listed()]
        cases.append(f'"{name} -"*) words="{" ".join([*names, "--help"])}" ;;')
        if command.words():
            cases.append(f'"{name} "*) words="{" ".join(command.words())}" ;;')
    script = _BASH.replace("@COMMANDS@", " ".join([*commands, "--help", "--version"]))
    return script.replace("@CASES@", "\n".join(f"      {case}" for case in cases))


def zsh(commands: dict[str, str]) -> str:
    """Returns the completion script for zsh.

    Args:
        commands: each command's name and what it does.
    """
    cases = []
    for name in commands:
        command = _flags_of(name)
        specs = [_zsh_spec(flag) for flag in command.listed()]
        specs.append("'--help[show the flags, with examples]'")
        if command.words():
            specs.append(f"'1:word:({' '.join(command.words())})'")
        cases += [f"    {name}) _arguments \\", *(f"      {spec} \\" for spec in specs[:-1])]
        cases.append(f"      {specs[-1]} ;;")
    script = _ZSH.replace("@CONFIGS@", " ".join(_configs()))
    listed = (f"    '{name}:{_quoted(text)}'" for name, text in commands.items())
    return script.replace("@COMMANDS@", "\n".join(listed)).replace("@CASES@", "\n".join(cases))


def _zsh_spec(flag: ListedFlag) -> str:
    text = f"[{_quoted(flag.text)}]"
    if flag.kind == "switch":
        return f"'--{flag.name}{text}'"
    values = {"config": "_lbkeras_configs", "path": "_files", "value": " "}[flag.kind]
    if flag.choices:
        values = f"({' '.join(flag.choices)})"
    return f"'--{flag.name}={text}:{flag.name}:{values}'"


def _quoted(text: str) -> str:
    """Escapes a text for use inside quotes and brackets."""
    return text.replace("'", "’").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def _flags_of(name: str) -> CommandFlags:
    """Returns a command with its flags defined but not parsed."""
    module = importlib.import_module(f"lbkeras.cli.{name}")
    command = CommandFlags(module.HELP, [name])
    module.define_flags(command)
    return command


def _configs() -> list[str]:
    """Returns NAME:VARIANT for every variant of every paper's config."""
    return [
        f"{name}:{variant}"
        for name, path in paper_configs.files().items()
        for variant in config_module(str(path)).get_config.variants
    ]


_SCRIPTS = {"bash": bash, "zsh": zsh}

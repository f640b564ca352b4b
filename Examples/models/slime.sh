#!/usr/bin/env bash
# Trains one of the models in this folder on math problems (GRPO), or plans that from its config.json alone:
#   Examples/models/slime.sh train Qwen3-8B [more flags]     weights in $MODELS (models), problems in $DATA (data/math.jsonl)
#   Examples/models/slime.sh plan DeepSeek-V3 [more flags]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command=${1:?train or plan} model=${2:?the name of a folder in $here}
shift 2
[[ -f $here/$model/flags ]] || { echo "there is no model '$model' in $here" >&2; exit 2; }
case $command in
  train) own=(--hf-checkpoint "${MODELS:-models}/$model" --prompt-data "${DATA:-data/math.jsonl}") ;;
  plan) own=(--hf-checkpoint "$here/$model" --gpu h200) ;;
  *) echo "there is no command '$command'; use train or plan" >&2; exit 2 ;;
esac
# Flags are words without spaces in them.
# shellcheck disable=SC2046
exec "${SLIME:-$here/../../slime}" "$command" "${own[@]}" $(cat "$here/common.flags" "$here/$model/flags" | grep -v '^#') "$@"

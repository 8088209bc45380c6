#!/usr/bin/env bash
# Docks the example complex through the HTTP API: dock.sh ADDRESS TOKEN [OUT]
set -euo pipefail
address=$1 token=$2 out=${3:-docked}
files=$(dirname "$0")/../../plugins/docking/vina/examples/1uw6
api() { curl --silent --show-error --fail-with-body -H "Authorization: Bearer $token" "$@"; }

receptor=$(api -F "file=@$files/receptor.pdb" "$address/api/v1/molecules/upload" | jq -r .id)
ligand=$(api -F "file=@$files/ligand.sdf" "$address/api/v1/molecules/upload" | jq -r .id)

request=$(jq --null-input --arg receptor "$receptor" --arg ligand "$ligand" \
    --slurpfile box "$files/box.json" \
    '{inputs: {receptor: $receptor, ligand: $ligand}, parameters: {box: $box[0], seed: 42}}')
execution=$(api --json "$request" "$address/api/v1/tasks/docking.vina/execute" |
    jq -r .execution_id)

while status=$(api "$address/api/v1/executions/$execution/status"); do
    echo "$status" | jq -r '"\(.status) \((.progress // 0) * 100 | floor) % \(.stage // "")"'
    case $(echo "$status" | jq -r .status) in
        queued | running) sleep 1 ;;
        succeeded) break ;;
        *) exit 1 ;;
    esac
done

mkdir -p "$out"
api "$address/api/v1/executions/$execution/results" >"$out/result.json"
jq -r '.artifacts[] | "\(.href) \(.name)"' "$out/result.json" | while read -r href name; do
    api "$address$href" >"$out/$name"
done
jq -r '.output.poses[] | "\(.rank)\t\(.affinity_kcal_mol) kcal/mol"' "$out/result.json"

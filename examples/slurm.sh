#!/bin/bash
#SBATCH --job-name=ablate --nodes=4 --ntasks-per-node=1 --gpus-per-node=8 --cpus-per-task=64
#SBATCH --time=12:00:00 --requeue --no-kill --open-mode=append
#SBATCH --signal=B:USR1@180
#
# One study on the nodes of a job, which goes back into the queue until the study is done:
#
#     ray get-auth-token --generate > /dev/null      # once, in a home folder that the nodes share
#     export ABLATE_STORAGE=postgresql+psycopg://USER:PASSWORD@HOST/DATABASE
#     sbatch slurm.sh STUDY.yaml                     # in a folder that the nodes share
#
# Slurm sends USR1 to this shell 180 s ahead of the limit; the driver drains within
# run.grace_seconds (60). A node that is lost costs the epochs under way there: --no-kill keeps the
# job, the study goes on. Where the first node is lost, Slurm itself puts the job into the queue.
study=${1:?"the study file is missing: sbatch slurm.sh STUDY.yaml"}
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
export RAY_AUTH_TOKEN_PATH=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
restarts=100                       # of one job; then somebody has to look

again='' driver=''
trap 'again=1; [ -z "$driver" ] || kill -USR1 "$driver"' USR1

finish() {  # finish CODE: back into the queue after USR1, or where the infrastructure failed
  if [ -n "$again" ] || [ "$1" -eq 3 ]; then
    [ "${SLURM_RESTART_COUNT:-0}" -ge "$restarts" ] || scontrol requeue "$SLURM_JOB_ID"
  fi
  exit "$1"
}

wait_for() {  # wait_for SECONDS COMMAND...: until the command succeeds
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    if [ -n "$again" ] || [ $SECONDS -ge $end ]; then return 1; fi
    sleep 1
  done
}

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address=${nodes[0]}:$((20000 + SLURM_JOB_ID % 20000))
size=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" --block)
on() { srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" -w "$@"; }
answers() { ray health-check --address "$address" > /dev/null 2>&1; }
all_are_there() {
  local active
  active=$(ray status --address "$address" 2> /dev/null | sed -n '/^Active/,/^Pending/p')
  [ "$(grep -c ' node_' <<< "$active")" -ge "${#nodes[@]}" ]
}

# Ray's words go to a file of the job: ablate says in a line what matters.
exec 3>> "ray-$SLURM_JOB_ID.log"
on "${nodes[0]}" ray start --head --port "${address#*:}" --include-dashboard=false "${size[@]}" >&3 2>&1 &
if ! wait_for 120 answers; then
  echo "Ray's head did not start on ${nodes[0]}: see ray-$SLURM_JOB_ID.log" >&2
  finish 3
fi
for node in "${nodes[@]:1}"; do
  on "$node" ray start --address "$address" "${size[@]}" >&3 2>&1 &
done
wait_for 120 all_are_there || echo "not all ${#nodes[@]} nodes are there: the others begin" >&2
[ -z "$again" ] || finish 143

ablate launch "$study" --resume --ray-address "$address" &
driver=$!
wait "$driver"; code=$?            # a signal ends the waiting, not the driver
while kill -0 "$driver" 2> /dev/null; do wait "$driver"; code=$?; done
finish $code

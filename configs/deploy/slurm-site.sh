#!/bin/bash
# A hospital's node as a Slurm job: one GPU of a shared cluster, for as long as the job may run. It calls out to the
# coordinator's gate and is called by nobody, so no port is opened. Expect: `site start` ends with the job, what was under
# way is asked again, and the next job goes on; nothing is spent twice.
#
#   sbatch configs/deploy/slurm-site.sh /project/fedcxr/kit /run/user/1000/vault-passphrase
#
# The cluster's administrators can read what is on its disks and in its memory: ask whether films may be there at all.
# Other jobs on the machine reach its loopback: the node's port there asks for a secret, and --exclusive keeps them away.
#SBATCH --job-name=fedcxr-site
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --exclusive
#SBATCH --signal=B:TERM@60
#SBATCH --requeue
set -euo pipefail
umask 077
ulimit -c 0
kit=${1:?the folder of this site\'s kit}
export FEDCXR_PASSPHRASE_FILE=${2:?a file with the passphrase of the vault, in memory and not beside the vault}
export FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1

fedcxr preflight "$kit" --device cuda
# In the background, and waited for: a shell that waits hears Slurm's signal, and one that runs a command does not.
fedcxr site start "$kit" &
trap 'kill -TERM $!' TERM
wait $!

#!/bin/bash
$directives

# srun's exit code is the highest of its tasks': $peer_lost is a lost peer or storage;
# those that requeue are saved and stopped by a signal; the rest above 128 are deaths by
# a signal.
$setup
restarts=0
while true; do
  code=0
  srun \
    $srun || code=$$?
  case $$code in
    $final) exit "$$code" ;;
    $requeued)
      # Not after scancel: then the job is no longer running.
      case "$$(scontrol show job "$$SLURM_JOB_ID" --oneliner)" in
        *JobState=RUNNING*) scontrol requeue "$$SLURM_JOB_ID" ;;
      esac
      exit "$$code"
      ;;
  esac
  if [ "$$code" -lt 128 ] || [ "$$restarts" -ge $max_restarts ]; then
    echo "exit code $$code after $$restarts restarts: giving up" >&2
    exit "$$code"
  fi
  restarts=$$((restarts + 1))
  echo "exit code $$code: restart $$restarts of $max_restarts" >&2
  sleep $$((restarts < 12 ? restarts * 5 : 60))
done

using Scheduler.Leases;

namespace Scheduler.Runs;

/// <summary>Claims in the run ledger: one row per occurrence, under the fence of the lock key.</summary>
internal sealed class LedgerClaims(StateGuard state, ReplicaIdentity replica, TimeProvider time) : IRunClaims
{
    public async ValueTask<ClaimAnswer> ClaimAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken)
    {
        // Known before anything is sent, so nothing has to be resolved and the lock is free for replicas that reach the State.
        if (state.Health is { IsUp: false, Reason: var reason })
        {
            return new ClaimAnswer.Unavailable($"State '{state.Name}' is down: {reason}");
        }
        var request = Request(fire, lease);
        var result = await state.CallAsync((s, token) => s.Runs.ClaimAsync(request, token), cancellationToken);
        return result switch
        {
            ClaimResult.Claimed claimed => new ClaimAnswer.Claimed(claimed.Run.Id, claimed.Run.Attempt, claimed.Run.Failures),
            ClaimResult.Recorded recorded => new ClaimAnswer.NotOurs(
                $"recorded as {recorded.Run.State} (attempt {recorded.Run.Attempt})",
                recorded.Run.Replica
            ),
            ClaimResult.Closed { Run: var run } => new ClaimAnswer.NotOurs(
                $"closed as dead: {run.Error}",
                run.Replica,
                new RunEvent(run.Id, RunEventKind.Closed, request.Now, run.Attempt, lease.Token, replica.Id, run.Error)
            ),
            ClaimResult.Stale stale => new ClaimAnswer.NotOurs($"token {lease.Token} is older than {stale.Newest}", null),
            _ => new ClaimAnswer.NotOurs($"there is no run {fire.RunId}", null),
        };
    }

    public async ValueTask<bool> CompleteAsync(ClaimAnswer.Claimed claim, Completion completion, CancellationToken cancellationToken) =>
        await state.CallAsync((s, token) => s.Runs.CompleteAsync(completion, token), cancellationToken) == CompletionResult.Accepted;

    // A claim is idempotent for the same token, so asking again tells what became of the first; no body ran for it. The attempt ends
    // when it began: however long the State was away, nothing overlapped with a body that did not run.
    public async ValueTask ResolveAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken)
    {
        var request = Request(fire, lease);
        if (
            await state.CallAsync((s, token) => s.Runs.ClaimAsync(request, token), cancellationToken) is ClaimResult.Claimed
            {
                Run: var run
            }
        )
        {
            var completion = new Completion
            {
                RunId = run.Id,
                Attempt = run.Attempt,
                Token = lease.Token,
                Outcome = RunOutcome.Interrupted,
                Error = "The claim was not answered in time, so no body ran.",
                Now = run.StartedAt ?? request.Now,
            };
            await state.CallAsync((s, token) => s.Runs.CompleteAsync(completion, token), cancellationToken);
        }
    }

    private ClaimRequest Request(FireRequest fire, Lease lease) =>
        new()
        {
            Occurrence = fire.RunId is null ? fire.Occurrence : null,
            RunId = fire.RunId,
            LockKey = lease.Key,
            Token = lease.Token,
            Replica = replica.Id,
            Now = time.GetUtcNow(),
            Data = fire.Data,
            OnCrash = fire.OnCrash,
            MaxCrashes = fire.MaxCrashes,
        };
}

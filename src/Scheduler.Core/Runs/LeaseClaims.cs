using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Scheduler.Leases;
using Scheduler.Locking;

namespace Scheduler.Runs;

/// <summary>
/// Claims without State: a lease on <c>occ:{job}/{trigger}/{time}</c>, taken under the job's lock and left to expire after the body, so
/// that replicas which fire within the longest lease of each other find it.
/// </summary>
internal sealed class LeaseClaims(ILockProvider locks, TimeSpan longestLease) : IRunClaims
{
    public async ValueTask<ClaimAnswer> ClaimAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken)
    {
        var id = Guid.CreateVersion7().ToString("n");
        // A manual run is nobody else's occurrence, and a refire goes on with the one that this fire has claimed already.
        if (fire.IsRefire || fire.Occurrence.Trigger == RunRecord.ManualTrigger)
        {
            return new ClaimAnswer.Claimed(id, fire.IsRefire ? 2 : 1);
        }
        return await locks.TryAcquireAsync(KeyOf(fire.Occurrence), lease.Purpose, longestLease, cancellationToken) switch
        {
            LockAttempt.Granted granted => new ClaimAnswer.Claimed(id, 1, OccurrenceLease: granted.Lease),
            LockAttempt.Held held => new ClaimAnswer.NotOurs("the occurrence has been claimed", held.Holder),
            LockAttempt.Unavailable unavailable => new ClaimAnswer.Unavailable($"the lock store: {unavailable.Reason}"),
            _ => throw new InvalidOperationException("A lock attempt has three cases."),
        };
    }

    public async ValueTask<bool> CompleteAsync(ClaimAnswer.Claimed claim, Completion completion, CancellationToken cancellationToken)
    {
        if (claim.OccurrenceLease is { } occurrence)
        {
            await occurrence.LeaveToExpireAsync(longestLease, cancellationToken);
        }
        return true;
    }

    public ValueTask ResolveAsync(FireRequest fire, Lease lease, CancellationToken cancellationToken) => ValueTask.CompletedTask;

    /// <summary>The key of an occurrence; names too long for a key are hashed, so that two occurrences never share one.</summary>
    internal static LockKey KeyOf(Occurrence occurrence)
    {
        var time = occurrence.ScheduledAt.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture);
        var name = $"{Uri.EscapeDataString(occurrence.Job)}/{Uri.EscapeDataString(occurrence.Trigger)}";
        var key = $"occ:{name}/{time}";
        return LockKey.Problem(key) is null
            ? LockKey.From(key)
            : LockKey.From($"occ:{Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(name)))}/{time}");
    }
}

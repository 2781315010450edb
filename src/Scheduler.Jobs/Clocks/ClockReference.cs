using Scheduler.Runs;

namespace Scheduler.Jobs.Clocks;

/// <summary>
/// What a replica's wall clock is compared with: what a right one shows at this host's boot clock zero, as far as that could be found
/// out. Immutable; made by pure functions.
/// </summary>
/// <param name="Earliest">The lower bound.</param>
/// <param name="Latest">The upper bound.</param>
/// <param name="Of">Whose clock it is, for people.</param>
internal sealed record ClockReference(DateTimeOffset Earliest, DateTimeOffset Latest, string Of)
{
    /// <summary>By State's own clock, read somewhere in the time that its answer took: a slow answer says little.</summary>
    /// <param name="now">What it showed.</param>
    /// <param name="reading">This replica's clocks after the answer.</param>
    /// <param name="roundTrip">How long ago it was asked.</param>
    public static ClockReference OfState(DateTimeOffset now, ClockReading reading, TimeSpan roundTrip) =>
        new(now - reading.Boot, now - reading.Boot + roundTrip, "State's clock");

    /// <summary>
    /// By the members of one host, whose boot clock is one and the same: the median decides. Where as many say one thing as another, it is
    /// what those say who take fires, and if that does not tell, what the one with the first id says; every replica decides alike.
    /// </summary>
    /// <param name="own">What this replica's clock says.</param>
    /// <param name="others">What the other living members' clocks say.</param>
    /// <param name="apart">How far clocks may be apart.</param>
    /// <returns>The reference, or <see langword="null"/> when there is nobody else.</returns>
    public static ClockReference? OfMembers(ClockWitness own, IReadOnlyCollection<ClockWitness> others, TimeSpan apart)
    {
        if (others.Count == 0)
        {
            return null;
        }
        List<ClockWitness> all = [.. others.Append(own).OrderBy(w => w.BootedAt).ThenBy(w => w.Id, StringComparer.Ordinal)];
        var of = others.Count == 1 ? $"the clock of replica '{others.First().Name}'" : $"most of the {all.Count} replicas of this host";
        var half = all.Count / 2;
        if (all.Count % 2 == 1)
        {
            return new ClockReference(all[half].BootedAt, all[half].BootedAt, of);
        }
        var (low, high) = (all[half - 1].BootedAt, all[half].BootedAt);
        if (high - low <= apart)
        {
            var middle = low + ((high - low) / 2);
            return new ClockReference(middle, middle, of);
        }
        var right = Prefers(all[..half], all[half..]) ? low : high;
        return new ClockReference(right, right, of);
    }

    /// <summary>How far a wall clock is off at least; negative when it is behind, zero when it may be right.</summary>
    public TimeSpan OffsetOf(ClockReading reading) =>
        reading.BootedAt > Latest ? reading.BootedAt - Latest
        : reading.BootedAt < Earliest ? reading.BootedAt - Earliest
        : TimeSpan.Zero;

    /// <summary>Whether a wall clock is near this one for sure, wherever between the bounds it is.</summary>
    public bool IsNear(ClockReading reading, TimeSpan apart) => Latest - reading.BootedAt <= apart && reading.BootedAt - Earliest <= apart;

    private static bool Prefers(List<ClockWitness> low, List<ClockWitness> high)
    {
        var more = low.Count(w => w.TakesFires) - high.Count(w => w.TakesFires);
        return more > 0 || (more == 0 && string.CompareOrdinal(low.Min(w => w.Id), high.Min(w => w.Id)) < 0);
    }
}

/// <summary>What a member's clock says.</summary>
/// <param name="Id">The member.</param>
/// <param name="Name">Its name, for people.</param>
/// <param name="BootedAt">What its wall clock showed at boot clock zero.</param>
/// <param name="TakesFires">Whether it takes its own clock for right.</param>
internal sealed record ClockWitness(string Id, string Name, DateTimeOffset BootedAt, bool TakesFires)
{
    /// <summary>Reads it from the member's heartbeat.</summary>
    public static ClockWitness Of(MemberRecord member) =>
        new(member.Id, member.Name, member.WallClock - member.BootClock, member.Status == ReplicaStatus.Running);
}

using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Scheduler.Time;

namespace Scheduler.Jobs.Clocks;

/// <summary>
/// The time that the replicas of a group go by, and Quartz on each of them: this replica's wall clock, corrected to what it is compared
/// with, so that replicas whose clocks differ a little fire together. A clock that is off by more than is allowed is not corrected:
/// nothing is fired by it. Timers and timestamps are those of the replica's own clock. Thread-safe.
/// </summary>
/// <param name="own">This replica's clocks.</param>
/// <param name="maxOffset">How far they are corrected at most.</param>
internal sealed class GroupTime(TimeProvider own, TimeSpan maxOffset) : TimeProvider
{
    // What a right wall clock shows at boot clock zero, in ticks of UTC; zero while that is unknown.
    private long _bootedAt;

    /// <summary>Adds it to a container, over the clock that this has by now; where there is something to compare that with, it becomes
    /// the container's own clock, by which Quartz goes.</summary>
    /// <param name="services">The services of the container.</param>
    /// <param name="maxOffset">How far the clock is corrected at most.</param>
    /// <param name="isCompared">Whether it is compared at all.</param>
    public static void AddTo(IServiceCollection services, TimeSpan maxOffset, bool isCompared)
    {
        services.TryAddSingleton<TimeProvider>(BootTimeProvider.Instance);
        var own = services.Last(s => s.ServiceType == typeof(TimeProvider) && !s.IsKeyedService);
        services.AddSingleton(p => new GroupTime(OwnOf(p, own), maxOffset));
        if (isCompared)
        {
            services.AddSingleton<TimeProvider>(p => p.GetRequiredService<GroupTime>());
        }
    }

    /// <summary>The clocks as they are, for whoever judges them.</summary>
    public TimeProvider Own => own;

    /// <inheritdoc/>
    public override long TimestampFrequency => own.TimestampFrequency;

    /// <inheritdoc/>
    public override TimeZoneInfo LocalTimeZone => own.LocalTimeZone;

    /// <inheritdoc/>
    public override long GetTimestamp() => own.GetTimestamp();

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow()
    {
        if (Volatile.Read(ref _bootedAt) == 0)
        {
            return own.GetUtcNow();
        }
        var reading = ClockReading.Take(own);
        return BootedAt(reading) + reading.Boot;
    }

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        own.CreateTimer(callback, state, dueTime, period);

    /// <summary>What this time shows at boot clock zero.</summary>
    /// <param name="reading">The replica's own clocks now.</param>
    public DateTimeOffset BootedAt(ClockReading reading)
    {
        var right = new DateTimeOffset(Volatile.Read(ref _bootedAt), TimeSpan.Zero);
        return (right - reading.BootedAt).Duration() <= maxOffset ? right : reading.BootedAt;
    }

    /// <summary>Goes by a new comparison from now on. It changes only as far as that shows it to be wrong: an answer that took long, and
    /// says little, moves nothing, and of many the quickest decide.</summary>
    /// <param name="reference">The comparison; <see langword="null"/> when there is nobody to compare with.</param>
    /// <param name="reading">The replica's own clocks now.</param>
    public void Follow(ClockReference? reference, ClockReading reading)
    {
        var before = Volatile.Read(ref _bootedAt) is > 0 and var ticks ? new DateTimeOffset(ticks, TimeSpan.Zero) : reading.BootedAt;
        Volatile.Write(
            ref _bootedAt,
            reference is null ? 0
                : before < reference.Earliest ? reference.Earliest.UtcTicks
                : before > reference.Latest ? reference.Latest.UtcTicks
                : before.UtcTicks
        );
    }

    private static TimeProvider OwnOf(IServiceProvider services, ServiceDescriptor own) =>
        (TimeProvider)(
            own.ImplementationInstance
            ?? own.ImplementationFactory?.Invoke(services)
            ?? ActivatorUtilities.CreateInstance(services, own.ImplementationType!)
        );
}

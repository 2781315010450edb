using Scheduler.Time;

namespace Scheduler.Testing;

/// <summary>The real time of a replica whose wall clock is wrong by an offset.</summary>
public sealed class SkewedTime(TimeSpan offset) : TimeProvider
{
    /// <summary>How wrong it is; may be changed at any time, as by an operator.</summary>
    public TimeSpan Offset { get; set; } = offset;

    public override long TimestampFrequency => BootTimeProvider.Instance.TimestampFrequency;

    public override long GetTimestamp() => BootTimeProvider.Instance.GetTimestamp();

    public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + Offset;
}

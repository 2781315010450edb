using System.Reflection;
using Scheduler.Auditing;
using Scheduler.Inbox;
using Scheduler.Jobs;
using Scheduler.Locking;
using Scheduler.Runs;
using Scheduler.Testing;

namespace Scheduler.Tests.Jobs;

/// <summary>A State whose way a test can break: away, or taking effect without answering.</summary>
public sealed class FaultyState(IState inner, StateFaults faults) : IState
{
    private readonly IRunLedger _runs = LedgerProxy.Wrap(inner.Runs, faults);
    private readonly IScheduleLedger _schedules = SchedulesProxy.Wrap(inner.Schedules, faults);

    public string Name => inner.Name;

    public Level Level => inner.Level;

    public string? Weakness => inner.Weakness;

    public IRunLedger Runs => Reach(_runs);

    public IRunEvents Events => Reach(inner.Events);

    public IRunSkips Skips
    {
        get
        {
            faults.CountSkips();
            return Reach(inner.Skips);
        }
    }

    public IScheduleLedger Schedules => Reach(_schedules);

    public IMemberRegistry Members => Reach(inner.Members);

    public IJobPauses Pauses => Reach(inner.Pauses);

    public IInbox Inbox => Reach(inner.Inbox);

    public IAuditTrail Audit => Reach(inner.Audit);

    public IPairLedger Pair => Reach(inner.Pair);

    public ValueTask OpenAsync(CancellationToken cancellationToken)
    {
        faults.CountOpen();
        return Reach(inner).OpenAsync(cancellationToken);
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private T Reach<T>(T part) => faults.Away ? throw new StateUnavailableException("The State is away.", permanent: faults.ForGood) : part;
}

/// <summary>What is broken; shared by test and State.</summary>
public sealed class StateFaults
{
    private volatile bool _away;
    private int _lostClaims;
    private int _opens;
    private int _skipCalls;

    public bool Away
    {
        get => _away;
        set => _away = value;
    }

    /// <summary>How long State takes to say which definitions living replicas disagree about.</summary>
    public TimeSpan ContestedTakes { get; set; }

    /// <summary>Whether what is away is refused for good, as wrong set-up is.</summary>
    public bool ForGood { get; set; }

    /// <summary>How often the State was opened or tried to be.</summary>
    public int Opens => Volatile.Read(ref _opens);

    /// <summary>The next claim takes effect, its answer is lost, and the State is away from then on.</summary>
    public void LoseTheNextClaim() => Volatile.Write(ref _lostClaims, 1);

    /// <summary>How often skips were written or asked for.</summary>
    public int SkipCalls => Volatile.Read(ref _skipCalls);

    public void CountSkips() => Interlocked.Increment(ref _skipCalls);

    public void CountOpen() => Interlocked.Increment(ref _opens);

    public bool TakeLostClaim() => Interlocked.Exchange(ref _lostClaims, 0) == 1;

    /// <summary>Puts the faults between a replica and its State.</summary>
    internal void Between(SingleInstanceBuilder builder)
    {
        var make = builder.State!;
        builder.SetState((services, context) => new FaultyState(make(services, context), this));
    }
}

/// <summary>Forwards every member, and loses answers of claims.</summary>
public class LedgerProxy : DispatchProxy
{
    private IRunLedger? _inner;
    private StateFaults? _faults;

    public static IRunLedger Wrap(IRunLedger inner, StateFaults faults)
    {
        var proxy = Create<IRunLedger, LedgerProxy>();
        ((LedgerProxy)(object)proxy)._inner = inner;
        ((LedgerProxy)(object)proxy)._faults = faults;
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        var answer = targetMethod!.Invoke(_inner, args);
        return answer is ValueTask<ClaimResult> claim && _faults!.TakeLostClaim() ? LoseAsync(claim) : answer;
    }

    private async ValueTask<ClaimResult> LoseAsync(ValueTask<ClaimResult> claim)
    {
        await claim;
        _faults!.Away = true;
        throw new StateUnavailableException("The connection was reset.");
    }
}

/// <summary>Forwards every member, and is late with what is contested.</summary>
public class SchedulesProxy : DispatchProxy
{
    private IScheduleLedger? _inner;
    private StateFaults? _faults;

    public static IScheduleLedger Wrap(IScheduleLedger inner, StateFaults faults)
    {
        var proxy = Create<IScheduleLedger, SchedulesProxy>();
        ((SchedulesProxy)(object)proxy)._inner = inner;
        ((SchedulesProxy)(object)proxy)._faults = faults;
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
        targetMethod!.Name == nameof(IScheduleLedger.ContestedAsync) && _faults!.ContestedTakes > TimeSpan.Zero
            ? LateAsync((CancellationToken)args![0]!)
            : targetMethod.Invoke(_inner, args);

    private async ValueTask<IReadOnlyList<ScheduleRecord>> LateAsync(CancellationToken cancellationToken)
    {
        await Eventually.Passes(_faults!.ContestedTakes, cancellationToken);
        return await _inner!.ContestedAsync(cancellationToken);
    }
}

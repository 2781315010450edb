using System.Reflection;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Tests.Webhooks;

/// <summary>Keeps the answer of a claim from a replica until a test lets it go.</summary>
public sealed class ClaimGate
{
    private readonly TaskCompletionSource _claimed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _go = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _holds;

    /// <summary>Lets the next claim that finds something take effect and keeps its answer.</summary>
    public (Task Claimed, TaskCompletionSource Go) Hold()
    {
        _holds = true;
        return (_claimed.Task, _go);
    }

    public IState Before(IState state)
    {
        var proxy = DispatchProxy.Create<IState, Gated>();
        ((Gated)(object)proxy).Set(state, this);
        return proxy;
    }

    private async ValueTask<IReadOnlyList<InboxClaim>> PassAsync(ValueTask<IReadOnlyList<InboxClaim>> claim)
    {
        var answer = await claim;
        if (_holds && answer.Count > 0)
        {
            _holds = false;
            _claimed.SetResult();
            await _go.Task;
        }
        return answer;
    }

    /// <summary>Forwards every member, claims through the gate.</summary>
    public class Gated : DispatchProxy
    {
        private object? _inner;
        private ClaimGate? _gate;

        internal void Set(object inner, ClaimGate gate) => (_inner, _gate) = (inner, gate);

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            var answer = targetMethod!.Invoke(_inner, BindingFlags.DoNotWrapExceptions, binder: null, args, culture: null);
            switch (answer)
            {
                case IInbox inbox:
                    var proxy = Create<IInbox, Gated>();
                    ((Gated)(object)proxy).Set(inbox, _gate!);
                    return proxy;
                case ValueTask<IReadOnlyList<InboxClaim>> claim:
                    return _gate!.PassAsync(claim);
                default:
                    return answer;
            }
        }
    }
}

using System.Reflection;
using Scheduler.Inbox;
using Scheduler.Runs;

namespace Scheduler.Tests.Webhooks;

/// <summary>Forwards every member of a State, and of its inbox what a test does not take over.</summary>
public class StateThrough : DispatchProxy
{
    private IState? _inner;
    private IInbox? _inbox;
    private IInboxFeed? _feed;

    /// <summary>Puts a function in front of the inbox.</summary>
    /// <param name="inner">The State.</param>
    /// <param name="before">Gets the name and the arguments of each call, before it goes on.</param>
    /// <param name="feed">How this replica tells the others.</param>
    public static IState Wrap(IState inner, Action<string, object?[]> before, IInboxFeed? feed = null)
    {
        var proxy = Create<IState, StateThrough>();
        var inbox = Create<IInbox, InboxThrough>();
        ((InboxThrough)(object)inbox).Set(inner.Inbox, before);
        var through = (StateThrough)(object)proxy;
        (through._inner, through._inbox, through._feed) = (inner, inbox, feed ?? inner.InboxFeed);
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
        targetMethod!.Name switch
        {
            "get_Inbox" => _inbox,
            "get_InboxFeed" => _feed,
            _ => targetMethod.Invoke(_inner, BindingFlags.DoNotWrapExceptions, binder: null, args, culture: null),
        };
}

/// <summary>Forwards every member of an inbox.</summary>
public class InboxThrough : DispatchProxy
{
    private IInbox? _inner;
    private Action<string, object?[]>? _before;

    public void Set(IInbox inner, Action<string, object?[]> before) => (_inner, _before) = (inner, before);

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        _before!(targetMethod!.Name, args!);
        return targetMethod.Invoke(_inner, BindingFlags.DoNotWrapExceptions, binder: null, args, culture: null);
    }
}

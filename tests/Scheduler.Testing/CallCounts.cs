using System.Collections.Concurrent;
using System.Reflection;

namespace Scheduler.Testing;

/// <summary>How often what was called. Thread-safe.</summary>
public sealed class CallCounts
{
    private readonly ConcurrentDictionary<string, long> _counts = new(StringComparer.Ordinal);

    /// <summary>Counts one call.</summary>
    public void Add(string name) => _counts.AddOrUpdate(name, 1, static (_, count) => count + 1);

    /// <summary>How often it was called so far.</summary>
    public long Of(string name) => _counts.GetValueOrDefault(name);

    /// <summary>All counts so far.</summary>
    public IReadOnlyDictionary<string, long> Take() => _counts.ToDictionary(StringComparer.Ordinal);

    /// <summary>What was called since.</summary>
    public IReadOnlyDictionary<string, long> Since(IReadOnlyDictionary<string, long> before) =>
        _counts
            .Select(c => (c.Key, Count: c.Value - before.GetValueOrDefault(c.Key)))
            .Where(c => c.Count > 0)
            .ToDictionary(c => c.Key, c => c.Count, StringComparer.Ordinal);
}

/// <summary>
/// Stands before a store or a State, also before the parts that its properties hand out, and counts each call by the method's name.
/// </summary>
public class CountedCalls : DispatchProxy
{
    private readonly ConcurrentDictionary<MethodInfo, object> _parts = new();
    private object? _inner;
    private CallCounts? _counts;
    private Func<MethodInfo, object?[], string>? _nameOf;

    /// <summary>Puts the counts between a caller and what it calls.</summary>
    /// <param name="inner">What is called.</param>
    /// <param name="counts">Where it is counted.</param>
    /// <param name="nameOf">As what a call counts; default: the method's name.</param>
    public static T Wrap<T>(T inner, CallCounts counts, Func<MethodInfo, object?[], string>? nameOf = null)
        where T : class => (T)(object)Make(typeof(T), inner, counts, nameOf ?? (static (method, _) => method.Name));

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
    {
        ArgumentNullException.ThrowIfNull(targetMethod);
        if (targetMethod.IsSpecialName)
        {
            return targetMethod.ReturnType is { IsInterface: true, IsGenericType: false } part
                ? _parts.GetOrAdd(targetMethod, m => Make(part, Call(m, args)!, _counts!, _nameOf!))
                : Call(targetMethod, args);
        }
        if (targetMethod.DeclaringType != typeof(IAsyncDisposable))
        {
            _counts!.Add(_nameOf!(targetMethod, args ?? []));
        }
        return Call(targetMethod, args);
    }

    private object? Call(MethodInfo method, object?[]? args) =>
        method.Invoke(_inner, BindingFlags.DoNotWrapExceptions, binder: null, args, culture: null);

    private static CountedCalls Make(Type type, object inner, CallCounts counts, Func<MethodInfo, object?[], string> nameOf)
    {
        var proxy = (CountedCalls)Create(type, typeof(CountedCalls));
        (proxy._inner, proxy._counts, proxy._nameOf) = (inner, counts, nameOf);
        return proxy;
    }
}

using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Scheduler.Testing;

/// <summary>Waits for a condition with a bound: the one place in the tests where real time passes on purpose.</summary>
public static class Eventually
{
    /// <summary>The bound where a test names none.</summary>
    public static readonly TimeSpan DefaultBound = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(5);

    /// <summary>Waits until the condition holds.</summary>
    /// <exception cref="TimeoutException">It did not hold within the bound; the message shows the condition.</exception>
    public static Task Holds(
        Func<bool> condition,
        TimeSpan? within = null,
        [CallerArgumentExpression(nameof(condition))] string what = ""
    ) => Holds(() => Task.FromResult(condition()), within, what);

    /// <summary>Waits until the condition holds.</summary>
    /// <param name="condition">Looked at again and again.</param>
    /// <param name="within">The bound.</param>
    /// <param name="what">For the message.</param>
    /// <param name="every">The pause between two looks; for looks that cost something.</param>
    /// <exception cref="TimeoutException">It did not hold within the bound; the message shows the condition.</exception>
    public static async Task Holds(
        Func<Task<bool>> condition,
        TimeSpan? within = null,
        [CallerArgumentExpression(nameof(condition))] string what = "",
        TimeSpan? every = null
    )
    {
        var bound = within ?? DefaultBound;
        var watch = Stopwatch.StartNew();
        while (!await condition())
        {
            if (watch.Elapsed > bound)
            {
                throw new TimeoutException($"Not within {bound.TotalSeconds:0.#} s: {what}");
            }
            await Task.Delay(every ?? Step, TimeProvider.System);
        }
    }

    /// <summary>Lets real time pass where the time itself is the subject: a body that works for so long, a clock moved step by
    /// step.</summary>
    public static Task Passes(TimeSpan time, CancellationToken cancellationToken = default) =>
        Task.Delay(time, TimeProvider.System, cancellationToken);

    /// <summary>A body that ends by its cancellation only.</summary>
    public static Task Cancelled(CancellationToken cancellationToken) =>
        Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
}

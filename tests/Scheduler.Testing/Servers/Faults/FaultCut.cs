using System.Text;

namespace Scheduler.Testing.Servers.Faults;

/// <summary>One connection that a test wants to be cut in the middle of a request or of the answer to it.</summary>
internal sealed class FaultCut(string text, bool inTheAnswer)
{
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _taken;

    /// <summary>What the request contains.</summary>
    public byte[] Text { get; } = Encoding.UTF8.GetBytes(text);

    /// <summary>Whether the server gets the request, and only the answer is cut.</summary>
    public bool InTheAnswer => inTheAnswer;

    /// <summary>Ends when a connection was cut.</summary>
    public Task Done => _done.Task;

    /// <summary>Whether this connection is the one.</summary>
    public bool TryTake() => Interlocked.Exchange(ref _taken, 1) == 0;

    /// <summary>It was cut.</summary>
    public void SetDone() => _done.TrySetResult();
}

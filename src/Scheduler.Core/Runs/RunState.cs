namespace Scheduler.Runs;

/// <summary>Where a run stands. The first four are open, the others final.</summary>
public enum RunState
{
    /// <summary>Asked for (manual run, retry), not begun; any replica may claim it.</summary>
    Waiting = 0,

    /// <summary>An attempt runs, or its holder died and nobody has taken over yet.</summary>
    Running,

    /// <summary>The last attempt was ended by a stop or by the loss of its lease; claimable at once.</summary>
    Interrupted,

    /// <summary>No live replica has the job; back to <see cref="Waiting"/> when one has.</summary>
    Orphaned,

    /// <summary>Done.</summary>
    Succeeded,

    /// <summary>The body failed and no further attempt is configured.</summary>
    Failed,

    /// <summary>Attempts or crashes are used up, or a crash is to be left to a person.</summary>
    Dead,

    /// <summary>Came due while the occurrence before it of the same trigger still ran; does not run.</summary>
    Overlapped,
}

/// <summary>Questions about run states.</summary>
public static class RunStates
{
    /// <summary>Whether a run in this state may still be claimed or completed.</summary>
    public static bool IsOpen(this RunState state) => state <= RunState.Orphaned;
}

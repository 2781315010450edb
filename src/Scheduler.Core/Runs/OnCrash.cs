namespace Scheduler.Runs;

/// <summary>What becomes of a run whose replica died in the middle of it.</summary>
public enum OnCrash
{
    /// <summary>Another attempt under a larger token, as long as crashes are left (default).</summary>
    RunAgain = 0,

    /// <summary>The run becomes <see cref="RunState.Dead"/>; a person decides.</summary>
    Leave,
}

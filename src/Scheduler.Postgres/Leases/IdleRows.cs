using Scheduler.Postgres.State;
using Scheduler.Runs;

namespace Scheduler.Postgres.Leases;

/// <summary>
/// Deletes the rows of keys that nobody has taken for a week: after so many grants, and a bounded piece of the group each time, so that
/// more is looked at than can have been added. Thread-safe.
/// </summary>
internal sealed class IdleRows(StateDatabase database, LeaseStatements statements, string group)
{
    /// <summary>After how many grants a piece is looked at.</summary>
    public const int GrantsBetween = 1_000;

    private const int Piece = 2_000;
    private static readonly TimeSpan Keep = TimeSpan.FromDays(7);

    private int _granted;
    private int _isLooking;
    private string _after = "";

    /// <summary>Counts grants, and looks at a piece when it is time; nobody waits for it.</summary>
    public void Count(int granted)
    {
        if (Interlocked.Add(ref _granted, granted) < GrantsBetween || Interlocked.Exchange(ref _isLooking, 1) != 0)
        {
            return;
        }
        Volatile.Write(ref _granted, 0);
        _ = Task.Run(LookAsync);
    }

    private async Task LookAsync()
    {
        try
        {
            _after = await database.CallAsync(
                batch => batch.Add(statements.Sweep).Text(group).Text(_after).Number(Piece).Number(Micros.Of(Keep)),
                static async reader => await reader.ReadAsync() ? reader.GetString(0) : "",
                CancellationToken.None
            );
        }
        catch (StateUnavailableException problem)
        {
            // The next piece comes with later grants, if there are any.
            Telemetry.Log.IdleRowsStay(database.Log, database.Place.Name, problem.Message);
        }
        finally
        {
            Volatile.Write(ref _isLooking, 0);
        }
    }
}

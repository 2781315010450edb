using System.Globalization;
using Npgsql;
using Scheduler.Locking;
using Scheduler.Postgres.State;
using Scheduler.Postgres.Telemetry;

namespace Scheduler.Postgres.SessionLeases;

// The session that is opened, and opened anew after it ended, by checks.
public sealed partial class PostgresSessionLeaseStore
{
    private async Task OpenSessionAsync(CancellationToken cancellationToken)
    {
        await _opening.WaitAsync(cancellationToken);
        try
        {
            if (_live is { } living && await living.IsAliveAsync())
            {
                return;
            }
            var leases = _backend.Leases;
            var connection = _database.Place.CreateSession(leases.CallTimeout * 2, SessionSettings(leases));
            var opening = LockSession.OpenAsync(connection, _statements, _database.Place.Quoted);
            LockSession session;
            try
            {
                session = await opening.WaitAsync(leases.CallTimeout * 3, TimeProvider.System, cancellationToken);
            }
            catch
            {
                _ = opening.ContinueWith(
                    static o => o.IsCompletedSuccessfully ? o.Result.DisposeAsync().AsTask() : Task.FromResult(o.Exception),
                    CancellationToken.None,
                    TaskContinuationOptions.None,
                    TaskScheduler.Default
                );
                throw;
            }
            var live = new LiveSession(session, _context);
            try
            {
                if (_listens)
                {
                    await live.ListenAsync();
                }
            }
            catch
            {
                live.Close();
                throw;
            }
            _live = live;
            Log.SessionOpened(_context.Log, session.ProcessId, _database.Place.Name);
            if (_disposed)
            {
                live.Close();
            }
        }
        catch (Exception problem) when (problem is NpgsqlException or TimeoutException or IOException)
        {
            throw StateProblem.Explain(_database.Place, problem);
        }
        finally
        {
            _opening.Release();
        }
    }

    // A dead host's session ends after the deadline of its last lease, and before twice the longest lease has passed.
    private static IEnumerable<(string Name, string Value)> SessionSettings(LeaseOptions leases)
    {
        return
        [
            ("statement_timeout", StatePlace.Milliseconds(Longer(leases.LeaseDuration, leases.CallTimeout * 2))),
            ("idle_in_transaction_session_timeout", StatePlace.Milliseconds(leases.LongestLease)),
            ("tcp_keepalives_idle", Seconds(leases.LongestLease / 2)),
            ("tcp_keepalives_interval", Seconds(leases.LongestLease / 8)),
            ("tcp_keepalives_count", "6"),
            ("tcp_user_timeout", StatePlace.Milliseconds(leases.LongestLease * 1.25)),
            // Nothing that it writes outlives the server's process.
            ("synchronous_commit", "off"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ];
    }

    private static string Seconds(TimeSpan time) => Math.Ceiling(time.TotalSeconds).ToString(CultureInfo.InvariantCulture);
}

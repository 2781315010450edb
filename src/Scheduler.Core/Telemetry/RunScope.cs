using System.Collections;
using System.Globalization;
using Scheduler.Runs;

namespace Scheduler.Telemetry;

/// <summary>
/// What every log line of a run carries as properties, from its start to its recorded end: replica, job, occurrence, attempt, token and
/// run id. The text is for loggers that show scopes as text.
/// </summary>
internal sealed class RunScope(IRun run, ReplicaIdentity replica) : IReadOnlyList<KeyValuePair<string, object?>>
{
    private readonly KeyValuePair<string, object?>[] _properties =
    [
        new("Replica", replica.Name),
        new("Job", run.Occurrence.Job),
        new("Occurrence", run.Occurrence.ToString()),
        new("Attempt", run.Attempt),
        new("Token", run.Token.ToString()),
        new("RunId", run.Id),
    ];

    public int Count => _properties.Length;

    public KeyValuePair<string, object?> this[int index] => _properties[index];

    public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => _properties.AsEnumerable().GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{run.Occurrence} attempt {run.Attempt} token {run.Token} on {replica.Name}");
}

using Scheduler.Runs;

namespace Scheduler.Postgres.State;

/// <summary>A completion with the id as the table has it.</summary>
internal readonly record struct Ending(Guid Id, Completion Completion);

/// <summary>Completions: a function in the schema ends the newest attempt. Thread-safe.</summary>
internal sealed class CompletionCommand(StateDatabase database, RunQueries queries, string group)
{
    /// <summary>Records completions, each by itself, in one transaction.</summary>
    public ValueTask<CompletionResult[]> RunAsync(IReadOnlyList<Ending> endings, CancellationToken cancellationToken)
    {
        var effects = endings.Select(e => LedgerRules.Effect(e.Completion)).ToList();
        return database.CallAsync(
            batch =>
                batch
                    .Add(queries.CompleteRuns)
                    .Text(group)
                    .Ids([.. endings.Select(e => e.Id)])
                    .Numbers([.. endings.Select(e => e.Completion.Attempt)])
                    .Numbers([.. endings.Select(e => e.Completion.Token.Value)])
                    .Texts([.. endings.Select(e => RunReader.NameOf(e.Completion.Outcome))])
                    .Texts([.. effects.Select(e => RunReader.NameOf(e.State))])
                    .Numbers([.. effects.Select(e => e.Failures)])
                    .TimeList([.. endings.Select(e => (DateTime?)Times.Of(e.Completion.Now))])
                    .TimeList([
                        .. endings.Select(e => LedgerRules.NextAttempt(e.Completion) is { } next ? Times.Of(next) : (DateTime?)null),
                    ])
                    .Texts([.. endings.Select(e => Keepable(LedgerRules.ErrorOf(e.Completion)))]),
            async reader =>
            {
                var results = new CompletionResult[endings.Count];
                for (var i = 0; i < results.Length; i++)
                {
                    await reader.ReadAsync();
                    results[i] = reader.GetBoolean(0) ? CompletionResult.Accepted : CompletionResult.Refused;
                }
                return results;
            },
            cancellationToken
        );
    }

    // An error text may hold anything; NUL and halves of surrogate pairs are the two things that a text column cannot, and a completion
    // must not fail for them for ever.
    private static string? Keepable(string? error)
    {
        if (error is null || (!error.Contains('\0', StringComparison.Ordinal) && !error.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')))
        {
            return error;
        }
        var text = System.Text.Encoding.UTF8.GetString(System.Text.Encoding.UTF8.GetBytes(error));
        return text.Replace('\0', '\uFFFD');
    }
}

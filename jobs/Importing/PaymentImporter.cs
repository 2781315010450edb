using System.Text;
using Microsoft.Extensions.Logging;
using Payments.Jobs.Csv;
using Payments.Jobs.Storage;
using Payments.Jobs.Telemetry;

namespace Payments.Jobs.Importing;

/// <summary>Imports the files of the inbox, as streams in bounded memory. Thread-safe; meant to run once at a time.</summary>
/// <remarks>
/// Idempotent by payment id: a file may be imported again, and an import may end anywhere. A file leaves the inbox only after all of its
/// lines are in the database, so what was cut short is read again from the start and finds its first part known.
/// </remarks>
public sealed class PaymentImporter
{
    private readonly Inbox _inbox;
    private readonly PaymentWriter _writer;
    private readonly PaymentsOptions _options;
    private readonly ILogger<PaymentImporter> _logger;

    internal PaymentImporter(Inbox inbox, PaymentWriter writer, PaymentsOptions options, ILogger<PaymentImporter> logger)
    {
        _inbox = inbox;
        _writer = writer;
        _options = options;
        _logger = logger;
    }

    /// <summary>Imports every file that is ready. A file that cannot be read does not keep the others back.</summary>
    /// <param name="cancellationToken">Honoured between batches; what is committed stays.</param>
    /// <exception cref="PaymentsStorageException">A folder, a file or the database cannot be used; the first such error, after all files
    /// were tried.</exception>
    public async ValueTask<IReadOnlyList<ImportSummary>> ImportAsync(CancellationToken cancellationToken)
    {
        _inbox.EnsureFolders();
        var summaries = new List<ImportSummary>();
        PaymentsStorageException? failure = null;
        foreach (var file in _inbox.Ready())
        {
            cancellationToken.ThrowIfCancellationRequested();
            try
            {
                if (await ImportFileAsync(file, cancellationToken) is { } summary)
                {
                    summaries.Add(summary);
                }
            }
            catch (PaymentsStorageException e)
            {
                Log.FileFailed(_logger, file.Name, e);
                failure ??= e;
            }
        }
        return failure is null ? summaries : throw failure;
    }

    private ValueTask<ImportSummary?> ImportFileAsync(InboxFile file, CancellationToken cancellationToken) =>
        new Place("file", file.Path, "Payments:Inbox").GuardAsync(async () =>
        {
            await using var stream = Inbox.Open(file);
            if (stream is null)
            {
                Log.FileGone(_logger, file.Name);
                return null;
            }
            using var text = new StreamReader(stream, Encoding.UTF8);
            var reader = new CsvReader(text);
            await using var rejects = new RejectsFile(_options.Rejects, file.Name);
            var header = await reader.ReadAsync(cancellationToken);
            if (HeaderProblem(header) is { } problem)
            {
                return await RejectFileAsync(file, rejects, new Reject(file.Name, 1, problem, header?.Raw ?? ""), cancellationToken);
            }
            var summary = await ImportLinesAsync(file, reader, rejects, cancellationToken);
            return await FinishAsync(file, rejects, summary, isRejected: false, cancellationToken);
        });

    private async ValueTask<ImportSummary> ImportLinesAsync(
        InboxFile file,
        CsvReader reader,
        RejectsFile rejects,
        CancellationToken cancellationToken
    )
    {
        var summary = new ImportSummary(file.Name, Imported: 0, AlreadyKnown: 0, Rejected: 0, MovedTo: null);
        var payments = new List<ReadPayment>(_options.BatchSize);
        var malformed = new List<Reject>();
        for (var isLast = false; !isLast; )
        {
            payments.Clear();
            malformed.Clear();
            while (!isLast && payments.Count + malformed.Count < _options.BatchSize)
            {
                var record = await reader.ReadAsync(cancellationToken);
                isLast = record is null;
                Sort(file, record, payments, malformed);
            }
            if (payments.Count + malformed.Count == 0)
            {
                continue;
            }
            var written = await _writer.WriteAsync(file.Name, payments, malformed, cancellationToken);
            await _inbox.Rejects.GuardAsync(() => rejects.AddAsync(written.Rejects, cancellationToken));
            summary = summary with
            {
                Imported = summary.Imported + written.Imported,
                AlreadyKnown = summary.AlreadyKnown + written.AlreadyKnown,
                Rejected = summary.Rejected + written.Rejects.Count,
            };
            Log.BatchImported(_logger, file.Name, payments.Count + malformed.Count);
            cancellationToken.ThrowIfCancellationRequested();
        }
        return summary;
    }

    private static void Sort(InboxFile file, CsvRecord? record, List<ReadPayment> payments, List<Reject> malformed)
    {
        if (record is null or { IsBlank: true })
        {
            return;
        }
        var problem = record.Problem;
        if (record.Fields is { } fields && PaymentLine.Read(fields, out problem) is { } payment)
        {
            payments.Add(new ReadPayment(record.Line, record.Raw, payment));
        }
        else
        {
            malformed.Add(new Reject(file.Name, record.Line, problem!, record.Raw));
        }
    }

    private static string? HeaderProblem(CsvRecord? header)
    {
        var wanted = string.Join(',', PaymentLine.Columns);
        if (header is null)
        {
            return $"the file is empty; its first line must be {wanted}";
        }
        return header.Fields is { } fields && fields.SequenceEqual(PaymentLine.Columns, StringComparer.Ordinal)
            ? null
            : $"the first line is '{PaymentLine.Shown(header.Raw)}'; it must be {wanted}";
    }

    private async ValueTask<ImportSummary?> RejectFileAsync(
        InboxFile file,
        RejectsFile rejects,
        Reject reject,
        CancellationToken cancellationToken
    )
    {
        await _writer.WriteAsync(file.Name, [], [reject], cancellationToken);
        await _inbox.Rejects.GuardAsync(() => rejects.AddAsync([reject], cancellationToken));
        var summary = new ImportSummary(file.Name, Imported: 0, AlreadyKnown: 0, Rejected: 1, MovedTo: null);
        summary = await FinishAsync(file, rejects, summary, isRejected: true, cancellationToken);
        Log.FileRejected(_logger, file.Name, reject.Reason, summary.MovedTo);
        return summary;
    }

    private async ValueTask<ImportSummary> FinishAsync(
        InboxFile file,
        RejectsFile rejects,
        ImportSummary summary,
        bool isRejected,
        CancellationToken cancellationToken
    )
    {
        if (!Inbox.IsUnchanged(file))
        {
            Log.FileChanged(_logger, file.Name);
            return summary;
        }
        var target = _inbox.FreePath(file.Name, isRejected);
        summary = summary with { MovedTo = target };
        var list = await _inbox.Rejects.GuardAsync(() => rejects.PublishAsync($"{Path.GetFileName(target)}.rejects.csv"));
        await _writer.NoteImportAsync(summary, cancellationToken);
        if (!_inbox.Move(file, target, isRejected))
        {
            Log.FileGone(_logger, file.Name);
            return summary with { MovedTo = null };
        }
        if (!isRejected)
        {
            Log.FileImported(_logger, file.Name, summary.Imported, summary.AlreadyKnown, summary.Rejected, target);
        }
        if (list is not null)
        {
            Log.LinesRejected(_logger, file.Name, summary.Rejected, list);
        }
        return summary;
    }
}

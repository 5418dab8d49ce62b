import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport.IssueSeverity;
import ca.uhn.fhir.validation.FhirValidator;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;

/** Resources as NDJSON on standard input; for each a line with a JSON array of issues on standard output. */
public final class ValidateR4 {

    public static void main(String[] arguments) throws Exception {
        var validator = validator(FhirContext.forR4());
        var json = new ObjectMapper();
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            var issues = validator.validateWithResult(line).getMessages().stream()
                    .map(issue -> Map.of(
                            "severity", issue.getSeverity().getCode(),
                            "place", String.valueOf(issue.getLocationString()),
                            "rule", String.valueOf(issue.getMessageId()),
                            "message", issue.getMessage()))
                    .toList();
            System.out.println(json.writeValueAsString(issues));
        }
    }

    private static FhirValidator validator(FhirContext fhir) {
        // What FHIR R4 itself defines comes with HAPI. CPT, HCPCS and the like belong to others: of their codes it is
        // said, as information, that nobody here knows them.
        var unknown = new UnknownCodeSystemWarningValidationSupport(fhir);
        unknown.setNonExistentCodeSystemSeverity(IssueSeverity.INFORMATION);
        var module = new FhirInstanceValidator(new ValidationSupportChain(
                new DefaultProfileValidationSupport(fhir),
                new CommonCodeSystemsTerminologyService(fhir),
                new InMemoryTerminologyServerValidationSupport(fhir),
                new SnapshotGeneratingValidationSupport(fhir),
                unknown));
        module.setAssumeValidRestReferences(true);
        return fhir.newValidator().registerValidatorModule(module);
    }
}
